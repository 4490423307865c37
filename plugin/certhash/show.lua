-- Shows a frame: tree items, expert information, and the Info column.

local M = {}

local others = ... or {}  -- the modules by name (plain.lua)
local story, visible = others.story, others.visible

--- Return the function that shows a frame.
-- @param needs protocol, its fields and its expert information; memory, of the capture; info_column(), whether to add the
--   verdict to the Info column
-- @return the function show, at the end
function M.using(needs)
    local memory, protocol, field, warn = needs.memory, needs.protocol, needs.field, needs.warn

    local function refusal_text(alert, judgement)
        local sent = alert.sent
        local by = sent.role == "client" and sent.handshake.server or sent.handshake.client
        local refusal = { by = memory.address_text(by), code = alert.code, after = alert.after }
        return story.refusal(refusal, sent.chain[1].sha1, judgement)
    end

    -- The bytes of a thumbprint are not in the packet, so all thumbprints of the frame share a separate data source.
    -- (Wireshark assumes that a bytes value of a tree item is as long as the item's range, so a value cannot be passed
    -- directly.)
    local function thumbprints_tvb(found)
        local all = {}
        for _, message in ipairs(found) do
            for _, certificate in ipairs(message) do
                all[#all + 1] = certificate.known.thumbprint
            end
        end
        return ByteArray.new(table.concat(all), true):tvb("Thumbprints")
    end

    -- Show a device with its file and URLs.
    local function show_device(item, file)
        local device = item:add(field.device, visible.text(file.device, 60)):set_generated()
        local source = device:add(field.cnf, visible.text(file.path or file.name)):set_generated()
        if file.frame then
            source:append_text((" (downloaded in frame %d)"):format(file.frame))
        end
        for _, url in ipairs(file.urls or {}) do
            device:add(field.url, visible.text(url.text, 255)):set_generated()
        end
    end

    -- Skip devices that this frame shows already, so that a column does not repeat them.
    local function show_devices(item, list, shown)
        for _, entry in ipairs(list) do
            if not shown[entry.file] then
                shown[entry.file] = true
                show_device(item, entry.file)
            end
        end
        if list.more then
            item:add(protocol, "more devices, not listed"):set_generated()
        end
    end

    -- The requested fields: all if the packet's tree is shown, else those that a filter, a column or an output names.
    -- Adding the others would be the largest part of this plugin's cost.
    local OPTIONAL = {
        "certificate", "sha1", "thumbprint", "sha256", "position", "match", "device", "cnf", "url", "verdict", "story",
    }

    local EVERYTHING = setmetatable({}, { __index = function() return true end })
    local NOTHING = {}
    local ourselves -- this dissector, for tree:referenced

    local function wanted(tree)
        if tree.visible then
            return EVERYTHING
        end
        ourselves = ourselves or Dissector.get("certhash")
        if not tree:referenced(ourselves) then
            return NOTHING
        end
        local wants = {}
        for _, name in ipairs(OPTIONAL) do
            wants[name] = tree:referenced(field[name])
        end
        return wants
    end

    local function show_certificates(tree, found, role, judgement, wants)
        local bytes = wants.thumbprint and thumbprints_tvb(found)
        local shown, devices = 0, {}
        local listings = judgement and memory.book().files > 0
            and (wants.match or wants.device or wants.cnf or wants.url) and judgement.listed
        for _, message in ipairs(found) do
            for index, certificate in ipairs(message) do
                local known, range, position = certificate.known, certificate.range, index - 1
                local item = tree
                if wants.certificate then
                    local whose = role and " (" .. role .. ")" or ""
                    local text = ("%d%s: %s %s"):format(position, whose, known.sha1, known.subject)
                    item = tree:add(field.certificate, range, text, "Certificate " .. text):set_generated()
                end
                if wants.sha1 then
                    item:add(field.sha1, range, known.sha1):set_generated()
                end
                if bytes then
                    item:add(field.thumbprint, bytes:range(shown * 20, 20)):set_generated()
                end
                if wants.sha256 then
                    item:add(field.sha256, range, known.sha256):set_generated()
                end
                if wants.position then
                    item:add(field.position, range, position):set_generated()
                end
                if certificate.whole then
                    item:add(field.whole, certificate.whole):set_generated()
                end
                shown = shown + 1
                local listed = listings and listings[shown]
                if listed then
                    local match = item:add(field.match, #listed > 0):set_generated()
                    if #listed > 0 then
                        match:append_text(" (" .. story.listed(listed, position) .. ")")
                        show_devices(match, listed, devices)
                    end
                end
            end
        end
    end

    local EXPERT = { match = warn.match, mismatch = warn.mismatch, rejected = warn.rejected }

    -- Show the verdict on a server's certificates, its expert information, and its mark in the Info column.
    local function show_verdict(tree, pinfo, sent, judgement, wants)
        local kind = judgement.verdict
        local expert_info = EXPERT[kind]
        local text = (expert_info or wants.verdict or wants.story)
            and story.verdict(judgement, memory.endpoint_text(sent.handshake.server), sent.chain[1].sha1)
        if kind and text then
            local item = tree:add(field.verdict, kind, "Verdict: " .. text):set_generated()
            if expert_info then
                item:add_proto_expert_info(expert_info, text)
            end
            if kind == "mismatch" then
                show_devices(item, judgement.told, {})
            end
        elseif text then
            tree:add(field.story, text):set_generated()
        end
        for _, doubt in ipairs(story.host_id(judgement)) do
            tree:add(field.story, doubt):set_generated():add_proto_expert_info(warn.host_id, doubt)
        end
        local own = kind ~= "mismatch" and story.own(judgement)
        if own then
            tree:add(field.story, own):set_generated():add_proto_expert_info(warn.mismatch, own)
        end
        if expert_info and needs.info_column() then
            pinfo.cols.info:append(" [certhash: " .. kind .. "]")
        end
        if sent.refusal and wants.story then
            tree:add(field.story, refusal_text(sent.refusal, judgement)):set_generated()
        end
    end

    local function show_alert(tree, pinfo, alert)
        local sent = alert.sent
        local judgement = memory.judge(sent)
        local text = refusal_text(alert, judgement)
        tree:set_text("Certificate hash: " .. text)
        tree:add(field.story, text):set_generated():add_proto_expert_info(warn.rejected, text)
        tree:add(field.certificate_in, sent.frame):set_generated()
        if judgement and judgement.verdict then
            local item = tree:add(field.verdict, judgement.verdict):set_generated()
            item:set_text("Verdict: " .. story.verdict(judgement, memory.endpoint_text(sent.handshake.server),
                sent.chain[1].sha1))
            show_devices(item, judgement.told, {})
            if needs.info_column() then
                local known = judgement.verdict == "rejected" and ", though the hash matches"
                    or judgement.verdict ~= "unlisted" and ", " .. judgement.verdict or ""
                pinfo.cols.info:append(" [certhash: certificate rejected" .. known .. "]")
            end
        end
    end

    local function show_file(tree, file)
        local item = tree:add(field.cnf_downloaded, file.name):set_generated()
        item:add(field.cnf_client, file.client):set_generated()
        item:add(field.cnf_server, file.server):set_generated()
        if file.content and #file.content > 0 then
            local bytes = ByteArray.new(file.content, true):tvb(file.name)
            item:add(field.cnf_content, bytes:range()):set_generated()
        end
        local what = file.read
        if what then
            show_device(item, what)
            local summary = what.urls and "expects " .. story.hashes(what)
                or what.kind == "encrypted" and "encrypted: the expected hashes cannot be read"
                or "no VPN configured"
            item:add(field.story, summary):set_generated()
            item:append_text(" (" .. summary .. ")")
            tree:set_text(("Certificate hash: %s downloaded, %s"):format(file.name, summary))
            for _, copy in ipairs(memory.book():stale_copies(what)) do
                local text = ("the copy %s differs: it expects %s"):format(
                    visible.text(copy.path), copy.urls and story.expectation(copy) or "no VPN")
                item:add(field.story, text):set_generated():add_proto_expert_info(warn.stale, text)
            end
        end
        if file.problem then
            local problem = visible.text(file.problem, 400)
            item:add(field.cnf_problem, problem):set_generated()
                :add_proto_expert_info(warn.unusable, file.name .. ": " .. problem)
        end
    end

    -- Show that a download failed, or that what it brings is not read.
    local function show_event(tree, event)
        local text
        if event.what == "error" then
            local failure = event.protocol == "HTTP" and "HTTP status %d" or "TFTP error %d (%s)"
            text = failure:format(event.code, event.message ~= "" and event.message or "no text")
                .. (" for %s: a phone that does not get its file keeps the one that it has"):format(event.name)
        else
            text = ("%s not read: several %s requests were sent at once, and which response answers which is not certain")
                :format(event.name, event.protocol)
        end
        tree:add(field.cnf_failed, event.name):set_generated()
        tree:add(field.story, text):set_generated():add_proto_expert_info(warn.failed, text)
    end

    --- Show a frame.
    -- @param found the certificate messages in it
    local function show(tree, pinfo, found)
        local number = pinfo.number
        local sent, refusal, file = memory.sent(number), memory.refusal(number), memory.file(number)
        local event = memory.event(number)
        local wants = #found > 0 and wanted(tree)
        local certified = wants and (wants ~= NOTHING or memory.book().files > 0)
        if not (certified or refusal or file or event) then
            return
        end
        local own = tree:add(protocol):set_generated()
        if certified then
            -- tree:referenced does not know expert information, so every frame that may have a verdict is judged.
            local judgement = sent and (wants.verdict or wants.story or memory.book().files > 0) and memory.judge(sent)
            if wants == EVERYTHING and sent then
                local server = sent.role == "client" and "" or memory.endpoint_text(sent.handshake.server)
                own:set_text("Certificate hash: " .. story.summary(judgement, sent.chain[1].sha1, server))
            end
            if judgement then
                show_verdict(own, pinfo, sent, judgement, wants)
            end
            if sent and sent.refusal then
                own:add(field.rejected_in, sent.refusal.frame):set_generated()
            end
            show_certificates(own, found, sent and sent.role, judgement, wants)
        end
        if refusal then
            show_alert(own, pinfo, refusal)
        end
        if file then
            show_file(own, file)
        end
        if event then
            show_event(own, event)
        end
    end

    return show
end

return M
